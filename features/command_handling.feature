Feature: Command Handling

  A command is decided by the domain's business logic on the aggregate's history, and what it decides is stored.

  Scenario: Handle command with existing history
    Given prior events for aggregate "order-456" in domain "orders":
      | sequence | event_type   |
      | 0        | OrderCreated |
      | 1        | ItemAdded    |
    When I send an "AddItem" command for aggregate "order-456"
    Then the business logic receives the command with 2 prior events
    And 3 events total exist for aggregate "order-456"

  Scenario: A new aggregate starts at number 0
    Given a domain "orders"
    When I send a "CreateOrder" command for aggregate "order-1" at sequence 0
    Then the business logic receives the command with 0 prior events
    And the answer holds the events:
      | sequence | event_type      | domain | aggregate |
      | 0        | CreateOrderDone | orders | order-1   |
    And 1 event total exists for aggregate "order-1"

  Scenario: Several commands in one book are decided together
    Given a domain "orders"
    When I send the commands "CreateOrder", "AddItem" and "AddItem" together for aggregate "order-1"
    Then the business logic receives the command with 3 pages
    And the answer holds the events:
      | sequence | event_type      |
      | 0        | CreateOrderDone |
      | 1        | AddItemDone     |
      | 2        | AddItemDone     |
    And the business logic of "orders" has been called 1 time

  Scenario: One command may cause several events
    Given a domain "orders"
    And on "CreateOrder" the business logic of "orders" answers with the events "OrderCreated", "CartEmptied"
    When I send a "CreateOrder" command for aggregate "order-1"
    Then the answer holds the events:
      | sequence | event_type   |
      | 0        | OrderCreated |
      | 1        | CartEmptied  |

  Scenario Outline: A refusal goes back to the caller word for word and nothing is stored
    Given prior events for aggregate "order-456" in domain "orders":
      | sequence | event_type   |
      | 0        | OrderCreated |
    And on "AddItem" the business logic of "orders" refuses with <code> "<message>"
    When I send an "AddItem" command for aggregate "order-456"
    Then the command fails with <code> "<message>"
    And 1 event total exists for aggregate "order-456"

    Examples:
      | code                | message                             |
      | OUT_OF_RANGE        | the basket is full: 12 of 12 ☕     |
      | INVALID_ARGUMENT    | quantity must be above 0            |
      | FAILED_PRECONDITION | order is cancelled                  |
      | UNKNOWN             | Exception calling application: oops |
      | UNAUTHENTICATED     | who are you?                        |

  Scenario: An empty answer is fine and stores nothing
    Given a domain "orders"
    And on "Look" the business logic of "orders" answers with nothing
    When I send a "Look" command for aggregate "order-1"
    Then the command is accepted
    And the answer holds no events
    And 0 events total exist for aggregate "order-1"

  Scenario: A revocation is told to the client as a failed precondition
    Given a domain "orders"
    And on "Cancel" the business logic of "orders" revokes because "too late, it has shipped"
    When I send a "Cancel" command for aggregate "order-1"
    Then the command fails with FAILED_PRECONDITION "Command revoked: too late, it has shipped"
    And 0 events total exist for aggregate "order-1"

  Scenario: A repeated idempotency key answers with the first answer
    Given a domain "orders"
    When I send a "CreateOrder" command for aggregate "order-1" at sequence 0 with idempotency key "click-7"
    And I send a "CreateOrder" command for aggregate "order-1" at sequence 0 with idempotency key "click-7"
    Then the answer is the same as the first
    And the business logic of "orders" has been called 1 time
    And 1 event total exists for aggregate "order-1"

  Scenario: An idempotency key is remembered across restarts
    Given a domain "orders"
    When I send a "CreateOrder" command for aggregate "order-1" with idempotency key "click-7"
    And the node is restarted
    And I send a "CreateOrder" command for aggregate "order-1" with idempotency key "click-7"
    Then the answer holds the events:
      | sequence | event_type      |
      | 0        | CreateOrderDone |
    And 1 event total exists for aggregate "order-1"

  Scenario: The same key on another aggregate is another request
    Given a domain "orders"
    When I send a "CreateOrder" command for aggregate "order-1" with idempotency key "click-7"
    And I send a "CreateOrder" command for aggregate "order-2" with idempotency key "click-7"
    Then the command is accepted
    And 1 event total exists for aggregate "order-2"
