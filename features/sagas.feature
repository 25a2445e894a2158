Feature: Sagas

  A saga turns events of one domain into commands for another. Each of its commands has one effect, however often the
  events come.

  Background:
    Given a domain "orders"
    And a domain "stock"

  Scenario: A saga's command has its effect
    Given a saga "reserve" from "orders" that reacts with:
      | event     | command | domain | aggregate |
      | PlaceDone | Reserve | stock  | shelf-1   |
    When I send a "Place" command for aggregate "order-1"
    Then aggregate "shelf-1" in domain "stock" comes to hold the events:
      | sequence | event_type  |
      | 0        | ReserveDone |

  Scenario: A saga may send several commands, also to one aggregate
    Given a saga "reserve" from "orders" that reacts with:
      | event     | command | domain | aggregate |
      | PlaceDone | Reserve | stock  | shelf-1   |
      | PlaceDone | Reserve | stock  | shelf-1   |
      | PlaceDone | Reserve | stock  | shelf-2   |
    When I send a "Place" command for aggregate "order-1" in mode CASCADE
    Then 2 events total exist for aggregate "shelf-1" in domain "stock"
    And 1 event total exists for aggregate "shelf-2" in domain "stock"

  Scenario: A redelivered event has no second effect
    Given a saga "reserve" from "orders" that reacts with:
      | event     | command | domain | aggregate |
      | PlaceDone | Reserve | stock  | shelf-1   |
      | PlaceDone | Reserve | stock  | shelf-1   |
    And the saga "reserve" is held
    When I send a "Place" command for aggregate "order-1"
    And the node dies before it records what the saga "reserve" has done
    And everything has settled
    Then the saga "reserve" has been called 2 times for aggregate "order-1"
    And 2 events total exist for aggregate "shelf-1" in domain "stock"

  # Only the bus inside a process can be told how to misbehave; what a broker does wrong by itself is tried in its driver.
  @in-process
  Scenario: A bus that doubles everything has no second effect
    Given a bus that doubles messages
    And a saga "reserve" from "orders" that reacts with:
      | event     | command | domain | aggregate |
      | PlaceDone | Reserve | stock  | shelf-1   |
    When I send 5 "Place" commands for aggregate "order-1"
    And everything has settled
    Then 5 events total exist for aggregate "shelf-1" in domain "stock"
    And the saga "reserve" has handled the events 0 to 4 of aggregate "order-1" once each, in order

  # Only the bus inside a process can be told how to misbehave; what a broker does wrong by itself is tried in its driver.
  @in-process
  Scenario: A bad bus loses no effect
    Given a bus that drops, doubles and reorders messages
    And a saga "reserve" from "orders" that reacts with:
      | event     | command | domain | aggregate |
      | PlaceDone | Reserve | stock  | shelf-1   |
    When I send 20 "Place" commands for aggregate "order-1"
    And everything has settled
    Then 20 events total exist for aggregate "shelf-1" in domain "stock"

  Scenario: A target that is not available yet is tried again and nothing is compensated
    Given on "Reserve" the business logic of "stock" refuses the first 3 times with UNAVAILABLE "warming up"
    And a saga "reserve" from "orders" that reacts with:
      | event     | command | domain | aggregate |
      | PlaceDone | Reserve | stock  | shelf-1   |
    When I send a "Place" command for aggregate "order-1" in mode CASCADE
    Then 1 event total exists for aggregate "shelf-1" in domain "stock"
    And the business logic of "orders" has received no "RevokeEventCommand"
    And no failed compensation is stored

  Scenario: A target that is down is waited for
    Given a saga "reserve" from "orders" that reacts with:
      | event     | command | domain | aggregate |
      | PlaceDone | Reserve | stock  | shelf-1   |
    And the business logic of "stock" is down
    When I send a "Place" command for aggregate "order-1"
    Then the command is accepted
    When the business logic of "stock" is up again
    And everything has settled
    Then 1 event total exists for aggregate "shelf-1" in domain "stock"
    And the business logic of "orders" has received no "RevokeEventCommand"
    And there are no dead letters of "saga/reserve"

  Scenario: A saga that is down is waited for
    Given a saga "reserve" from "orders" that reacts with:
      | event     | command | domain | aggregate |
      | PlaceDone | Reserve | stock  | shelf-1   |
    And the saga "reserve" is down
    When I send a "Place" command for aggregate "order-1"
    And the saga "reserve" is up again
    And everything has settled
    Then 1 event total exists for aggregate "shelf-1" in domain "stock"

  Scenario: A command at number 0 for an aggregate that exists is rejected like any other
    Given 3 prior events for aggregate "shelf-1" in domain "stock"
    And a saga "reserve" from "orders" that reacts with:
      | event     | command | domain | aggregate | sequence | auto_resequence |
      | PlaceDone | Reserve | stock  | shelf-1   | 0        | false           |
    When I send a "Place" command for aggregate "order-1"
    And everything has settled
    Then 3 events total exist for aggregate "shelf-1" in domain "stock"
    And the business logic of "orders" has received the revocation request:
      | rejection_reason | Sequence mismatch: command expects 0, aggregate at 3 |
      | rejected_command | Reserve                                              |

  Scenario: A command at number 0 for a new aggregate is accepted
    Given a saga "reserve" from "orders" that reacts with:
      | event     | command | domain | aggregate | sequence | auto_resequence |
      | PlaceDone | Reserve | stock  | shelf-1   | 0        | false           |
    When I send a "Place" command for aggregate "order-1"
    And everything has settled
    Then 1 event total exists for aggregate "shelf-1" in domain "stock"
    And the business logic of "orders" has received no "RevokeEventCommand"

  Scenario: A saga that fails for good leaves a dead letter and goes on with other aggregates
    Given a saga "reserve" from "orders" that reacts with:
      | event     | command | domain | aggregate |
      | PlaceDone | Reserve | stock  | shelf-1   |
    And the saga "reserve" refuses "BreakDone" with INVALID_ARGUMENT "no idea what this is"
    When I send a "Break" command for aggregate "order-1"
    And I send a "Place" command for aggregate "order-1"
    And I send a "Place" command for aggregate "order-2"
    And everything has settled
    Then 1 event total exists for aggregate "shelf-1" in domain "stock"
    And the dead letters of "saga/reserve" are:
      | aggregate | sequence | attempts | reason                                          |
      | order-1   | 0        | 1        | no idea what this is                            |
      | order-1   | 1        | 0        | waits behind an earlier event of the same aggregate |
