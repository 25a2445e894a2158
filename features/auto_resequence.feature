Feature: Auto-resequence

  A sender that does not care about the number says so, and never loses a race.

  Scenario: Twenty writers to one aggregate all succeed without gap or duplicate
    Given a domain "orders"
    When 20 clients at once each send an "AddItem" command for aggregate "order-1" with auto_resequence
    Then all 20 commands are accepted
    And aggregate "order-1" holds the events 0 to 19

  Scenario: Without it exactly one of twenty succeeds
    Given a domain "orders"
    When 20 clients at once each send an "AddItem" command for aggregate "order-1" at sequence 0
    Then exactly 1 of the 20 commands is accepted and the others fail with FAILED_PRECONDITION
    And 1 event total exists for aggregate "order-1"

  Scenario: A stale number does not matter
    Given 5 prior events for aggregate "order-1" in domain "orders"
    When I send an "AddItem" command for aggregate "order-1" at sequence 2 with auto_resequence
    Then the answer holds the events:
      | sequence | event_type  |
      | 5        | AddItemDone |

  Scenario: A race lost to another process is run again
    Given 2 prior events for aggregate "order-1" in domain "orders"
    And the business logic of "orders" is held
    When I send an "AddItem" command for aggregate "order-1" with auto_resequence without waiting
    And the business logic of "orders" is at work
    And another process appends an "ItemRemoved" event to aggregate "order-1"
    And the business logic of "orders" is released
    Then the command is accepted
    And the business logic receives the command with 3 prior events
    And the business logic of "orders" has been called 2 times
    And aggregate "order-1" holds the events:
      | sequence | event_type  |
      | 0        | ItemAdded   |
      | 1        | ItemAdded   |
      | 2        | ItemRemoved |
      | 3        | AddItemDone |

  Scenario: Without it a lost race is told to the sender
    Given 2 prior events for aggregate "order-1" in domain "orders"
    And the business logic of "orders" is held
    When I send an "AddItem" command for aggregate "order-1" without waiting
    And the business logic of "orders" is at work
    And another process appends an "ItemRemoved" event to aggregate "order-1"
    And the business logic of "orders" is released
    Then the command fails with ABORTED and says "expects number 2, the aggregate is at 3"
    And 3 events total exist for aggregate "order-1"
    When I send an "AddItem" command for aggregate "order-1" at sequence 3
    Then the command is accepted

  Scenario: Different aggregates do not wait for each other
    Given a domain "orders"
    And on "Think" the business logic of "orders" never answers
    When I send a "Think" command for aggregate "order-1" within 30s without waiting
    And the business logic of "orders" is at work
    And I send an "AddItem" command for aggregate "order-2"
    Then the command is accepted
