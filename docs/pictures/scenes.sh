# What is typed for each picture, and what has to be seen before it is taken.

item() { echo "'{\"product_id\": \"prod-1\", \"quantity\": $1, \"price_cents\": 1250}'"; }

open dev 112 42
run "angz dev --ephemeral"
see "is ready after" "^next:"
take dev "angz dev"

open shell 118 40
run "angz send inventory prod-1 AddStock '{\"quantity\": 10}'"
see StockAdded
run "angz send customer alice@example.com CreateCustomer '{\"name\": \"Alice\", \"email\": \"alice@example.com\"}'"
see CustomerCreated
run "angz send order order-1 CreateOrder '{\"customer_id\": \"alice@example.com\"}'"
see OrderCreated

# The log of angz dev tells each command with what it led to.
run "angz send order order-1 AddItem $(item 2) --sync cascade --correlation-id tea-for-two"
see "^correlation tea-for-two"
at dev
in_tmux resize-window -t dev -x 157 -y 20
see "corr=tea-for-two"
press c
see_not tea-for-two
at shell
run "angz send order order-1 AddItem $(item 99) --sync cascade --correlation-id too-much"
see "^correlation too-much"
at dev
see "undo: order order-1 → ItemRemoved"
take story "angz dev: a command, and everything it led to"

at shell
run clear
prompt
run "angz trace tea-for-two"
see "^2 commands"
run "angz trace too-much"
see "ItemRemoved"
prompt
take trace "angz trace: what a request led to"

run clear
prompt
run "angz events order order-1"
see ItemRemoved
run "angz diff order order-1 0 1"
see "1 change"
run "angz state order order-1 --at 1"
see "after event 1"
prompt
take history "angz events, diff and state"

open tui 118 22
run "angz tui"
see everything customer
press g
see "go to"
write "order order-1 1"
press Enter
see "▸ order order-1" "ItemAdded 1" "+ items"
take tui "angz tui: an order, its events, and what one of them changed"
press C-p
see "▸ search" reservation
write "or"
see "go to"
take tui-search "angz tui: Ctrl+P finds anything"
press Escape
see "▸ order order-1"
press s
see examples.CreateOrder
press Right
see price_cents
press Tab
write prod-1
press Tab
write 1
press C-s
see accepted StockReserved "all is done"
take tui-send "angz tui: a command and what it led to"
press Escape
see "▸ order order-1"
press q
prompt
