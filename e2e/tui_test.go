package e2e_test

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// shows waits until all words are on the screen at the same time.
func (w *terminal) shows(words ...string) {
	w.t.Helper()
	missing := func() string {
		screen := w.screen()
		for _, word := range words {
			if !strings.Contains(screen, word) {
				return word
			}
		}
		return ""
	}
	for deadline := time.Now().Add(time.Minute); missing() != ""; {
		if time.Now().After(deadline) {
			w.t.Fatalf("%q is not on the screen:\n%s", missing(), w.screen())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// writes types text without Enter.
func (w *terminal) writes(text string) {
	w.t.Helper()
	w.tmux("send-keys", "-l", text)
}

// gone waits until a word is not on the screen any more.
func (w *terminal) gone(word string) {
	w.t.Helper()
	for deadline := time.Now().Add(time.Minute); strings.Contains(w.screen(), word); {
		if time.Now().After(deadline) {
			w.t.Fatalf("%q stays on the screen:\n%s", word, w.screen())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (w *terminal) resize(width, height int) {
	w.t.Helper()
	w.tmux("resize-window", "-x", strconv.Itoa(width), "-y", strconv.Itoa(height))
}

// TestTUI does in a terminal what people do with a shop that runs: find somebody,
// see what happens, look where it led to, send commands, and bear a connection that
// is lost.
func TestTUI(t *testing.T) {
	t.Parallel()
	shop := copyShop(t)
	at := freePorts(t)
	running := startDev(t, shop, at)
	address := fmt.Sprintf("localhost:%d", at.gateway)
	send := func(words ...string) {
		t.Helper()
		if out, said, code := cli(shop, append([]string{"send", "--address", address}, words...)...); code != 0 {
			t.Fatalf("angz send %s: %d\n%s%s", strings.Join(words, " "), code, out, said)
		}
	}
	send("inventory", "prod-1", "AddStock", `{"quantity": 10}`)
	send("customer", "alice@example.com", "CreateCustomer", `{"name": "Alice 日本", "email": "alice@example.com"}`)
	send("customer", "bob@example.com", "CreateCustomer", `{"name": "Bob", "email": "bob@example.com"}`)
	send("order", "order-1", "CreateOrder", `{"customer_id": "alice@example.com"}`)

	w := openTerminal(t, "ANGZ="+binary, "LC_ALL=C.UTF-8", "XDG_STATE_HOME="+t.TempDir())
	w.types("cd " + shop + "; stty -a | grep -o ' -*icanon' >before; $ANGZ tui --address " + address)
	w.shows("customer", "inventory", "order", "everything")

	// Find a customer by the beginning of the name.
	w.press("Down", "Enter")
	w.shows("bob@example.com")
	w.press("/")
	w.writes("ali")
	w.press("Enter", "Enter")
	w.shows("▸ customer alice@example.com", "1 event", `"name": "Alice 日本"`, "changed the state")

	// See a new event arrive, at whatever size.
	w.resize(60, 20)
	send("customer", "alice@example.com", "AddLoyaltyPoints", `{"points": 5}`)
	w.shows("2 events")
	w.resize(120, 40)
	w.shows("LoyaltyPointsAdded", "+ loyaltyPoints: 5")

	// Look where a command led to, in the other domain.
	w.press("g")
	w.writes("order order-1")
	w.press("Enter")
	w.shows("▸ order order-1", "OrderCreated")
	send("order", "order-1", "AddItem", `{"product_id": "prod-1", "quantity": 2, "price_cents": 1250}`, "--sync", "cascade")
	w.shows("ItemAdded 1")
	w.press("t")
	w.shows("reservation → inventory prod-1", "StockReserved", "2 commands")
	w.press("Escape")
	w.shows("▸ order order-1") // a key right after Escape would be taken for one with Alt

	// Send a command from the form, and be refused.
	w.press("s")
	w.shows("send a command", "examples.CreateOrder")
	w.press("C-s")
	w.shows("refused", "exists")
	w.press("Right") // the next command
	w.shows("product_id")
	w.press("Tab")
	w.writes("prod-1")
	w.press("Tab")
	w.writes("1")
	w.press("C-s")
	w.shows("accepted", "ItemAdded", "→ inventory prod-1 StockReserved")
	w.press("Escape")
	w.shows("▸ order order-1")

	// Find anything, and let the mouse choose for a while.
	w.press("C-p")
	w.shows("▸ search", "saga", "loyalty", "correlation")
	w.writes("cus alice")
	w.shows("customer alice@example.com  ")
	w.press("Enter")
	w.shows("▸ customer alice@example.com", "2 events")
	w.press("M")
	w.shows("the mouse chooses and scrolls")
	if got := strings.TrimSpace(w.tmux("display-message", "-p", "#{mouse_any_flag}")); got != "1" {
		t.Errorf("the terminal tells nothing of the mouse: %s", got)
	}
	w.writes("\x1b[<0;14;1M\x1b[<0;14;1m") // a click on the name of the second screen
	w.shows("reservation → inventory prod-1")
	w.press("M")
	w.shows("the mouse selects text")
	w.press("C-p")
	w.writes("ord order-1")
	w.press("Enter")
	w.shows("▸ order order-1")

	// The other screens.
	w.press("3")
	w.shows("reservation", "inventory", "carried by channel")
	w.press("4")
	w.shows("projector/receipt", "the log ends at")

	// Watch how a component rests, and how a read model that was damaged is made anew.
	lines := func(statement string) string {
		t.Helper()
		script := `import sqlite3; db = sqlite3.connect(".angz/receipts.db", timeout=60); print(db.execute("` + statement + `").fetchall()); db.commit()`
		command := exec.Command(filepath.Join(shop, ".venv/bin/python"), "-c", script)
		command.Dir = shop
		out, err := command.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", statement, err, out)
		}
		return string(out)
	}
	const quantities = "SELECT quantity FROM lines ORDER BY sequence"
	before := lines(quantities)
	lines("UPDATE lines SET quantity = 99")
	w.press("p")
	w.shows("pause projector/receipt because")
	w.writes("the printer is away")
	w.press("Enter")
	w.shows("paused", "the printer is away")
	w.press("p")
	w.shows("projector/receipt goes on", "running")
	w.press("b")
	w.writes("it was damaged")
	w.press("Enter")
	w.shows("is made anew", "it was damaged")
	for deadline := time.Now().Add(time.Minute); lines(quantities) != before; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the read model holds %s, want %s\n%s", lines(quantities), before, w.screen())
		}
	}
	w.shows("projector/receipt  running")
	w.press("5")
	w.shows("no dead letters")
	w.press("1")

	// Lose the connection and regain it.
	running.stop()
	w.shows("no connection")
	startDev(t, shop, at)
	w.shows("connected again")
	send("order", "order-1", "AddItem", `{"product_id": "prod-1", "quantity": 1, "price_cents": 1}`)
	w.shows("ItemAdded 3")

	w.press("q")
	w.gone("streams")
	w.restored("0")
	w.types("$ANGZ tui --address " + address)
	w.shows("everything", "customer")
	w.press("s")
	w.shows("send a command")
	w.press("C-p") // what was sent in the session before
	w.shows("examples.AddItem", `"productId": "prod-1"`)
	w.press("Escape")
	w.gone("send a command")
	w.press("q")
	w.gone("streams")

	w.types("$ANGZ tui --read-only --address " + address)
	w.shows("read-only")
	w.press("s")
	w.shows("sending commands is not possible here")
	if output, err := exec.Command("pkill", "-TERM", "-f", "tui --read-only --address "+address).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, output)
	}
	w.gone("streams")
	w.restored("")
}

// restored waits until a program has ended and the terminal is as it was before.
func (w *terminal) restored(code string) {
	w.t.Helper()
	w.types(`echo "ended $?, $(stty -a | grep -o ' -*icanon' | cmp - before && echo restored)"`)
	w.shows("ended "+code, "restored")
}

// TestTUIWithoutATerminal sees what is said where nobody could look at it.
func TestTUIWithoutATerminal(t *testing.T) {
	t.Parallel()
	_, said, code := cli(t.TempDir(), "tui")
	if code != 2 || !strings.Contains(said, "angz tui needs a terminal; every view has a command that prints the same") {
		t.Errorf("exit code %d\n%s", code, said)
	}
	w := openTerminal(t, "ANGZ="+binary, "LC_ALL=C.UTF-8")
	w.types("$ANGZ tui --address localhost:1")
	w.shows("no connection")
	w.press("q")
	w.gone("streams")
	w.types("$ANGZ tui --bind quit=s")
	w.shows(`found "s" for both send and quit`)
	w.types("NO_COLOR=1 TERM=dumb $ANGZ tui --address localhost:1")
	w.shows("no connection")
	w.press("q")
	w.shows("prompt>")
}
