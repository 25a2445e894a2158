Feature: Sync modes

  The caller says how long an answer waits for what the command causes. The events are published in every mode.

  Background:
    Given a domain "orders"
    And a domain "stock"
    And a projector "receipt" of domain "orders"
    And a projector "shelf" of domain "stock"
    And a saga "reserve" from "orders" that reacts with:
      | event     | command | domain | aggregate |
      | PlaceDone | Reserve | stock  | shelf-1   |

  Scenario: NONE answers while the projector is still busy
    Given the projector "receipt" is held
    When I send a "Place" command for aggregate "order-1" in mode NONE
    Then the command is accepted
    And the answer holds projections of nothing
    And the projector "receipt" is at work
    And the projector "receipt" has handled 0 events of aggregate "order-1"
    When the projector "receipt" is released
    Then the projector "receipt" has handled the events 0 to 0 of aggregate "order-1" once each, in order

  Scenario: SIMPLE answers with the projections of the domain
    When I send a "Place" command for aggregate "order-1" in mode SIMPLE
    Then the answer holds projections of "receipt"
    And the projector "receipt" has handled 1 event of aggregate "order-1"

  Scenario: SIMPLE waits for the projector
    Given the projector "receipt" is held
    When I send a "Place" command for aggregate "order-1" in mode SIMPLE without waiting
    And the projector "receipt" is at work
    Then the command has not been answered
    When the projector "receipt" is released
    Then the command is accepted

  Scenario: SIMPLE does not wait for sagas
    Given the saga "reserve" is held
    When I send a "Place" command for aggregate "order-1" in mode SIMPLE
    Then the answer holds projections of "receipt"
    And 0 events total exist for aggregate "shelf-1" in domain "stock"

  Scenario: CASCADE has waited for the saga's command and for its projections
    When I send a "Place" command for aggregate "order-1" in mode CASCADE
    Then the answer holds projections of "receipt"
    And aggregate "shelf-1" in domain "stock" holds the events:
      | sequence | event_type  |
      | 0        | ReserveDone |
    And the projector "shelf" has handled 1 event of aggregate "shelf-1" in domain "stock"

  Scenario: CASCADE waits for projectors behind sagas
    Given the projector "shelf" is held
    When I send a "Place" command for aggregate "order-1" in mode CASCADE without waiting
    And the projector "shelf" is at work
    Then the command has not been answered
    When the projector "shelf" is released
    Then the command is accepted

  Scenario Outline: A deadline that passes while waiting says that the events are stored
    Given the <service> is held
    When I send a "Place" command for aggregate "order-1" in mode <mode> within 4s
    Then the command fails with DEADLINE_EXCEEDED and says "are stored"
    And 1 event total exists for aggregate "order-1"

    Examples:
      | service             | mode    |
      | projector "receipt" | SIMPLE  |
      | saga "reserve"      | CASCADE |
      | projector "shelf"   | CASCADE |

  Scenario Outline: A synchronous projector is awaited in every mode
    Given a projector "ledger" of domain "orders" that is synchronous
    And the projector "ledger" is held
    When I send a "Place" command for aggregate "order-1" <mode> without waiting
    And the projector "ledger" is at work
    Then the command has not been answered
    When the projector "ledger" is released
    Then the answer holds projections of <projections>

    Examples:
      | mode           | projections           |
      | at the gateway | "ledger"              |
      | in mode NONE   | "ledger"              |
      | in mode SIMPLE | "ledger" and "receipt" |

  Scenario: A projector that fails for good is told to those who wait
    Given a bus that loses messages
    And the projector "receipt" refuses "PlaceDone" with INVALID_ARGUMENT "what is this?"
    When I send a "Place" command for aggregate "order-1" in mode SIMPLE
    Then the command fails with INVALID_ARGUMENT and says "are stored, but projector receipt has not handled them: what is this?"
    And 1 event total exists for aggregate "order-1"

  Scenario: A projector whose dead letters hold an aggregate up is told to those who wait
    Given the projector "receipt" refuses "PlaceDone" with INVALID_ARGUMENT "what is this?"
    When I send a "Place" command for aggregate "order-1"
    And everything has settled
    And I send a "Pay" command for aggregate "order-1" in mode SIMPLE
    Then the command fails with FAILED_PRECONDITION and says "are stored, but projector receipt has not handled them"
    And 2 events total exist for aggregate "order-1"

  Scenario: A repeated command waits as asked and has no second effect
    When I send a "Place" command for aggregate "order-1" with idempotency key "click-7"
    And I send a "Place" command for aggregate "order-1" with idempotency key "click-7" in mode CASCADE
    Then the answer holds projections of "receipt"
    And 1 event total exists for aggregate "order-1"
    And 1 event total exists for aggregate "shelf-1" in domain "stock"
