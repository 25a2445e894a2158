Feature: Dead letters

  What a component could not handle waits, and holds up its own aggregate, until somebody decides what becomes of it.

  Background:
    Given a domain "orders"
    And a projector "receipt"
    And the projector "receipt" refuses "PoisonDone" with INVALID_ARGUMENT "cannot read this"

  Scenario: Retried dead letters are handled in order, and the aggregate goes on
    When I send an "AddItem" command for aggregate "order-1"
    And I send a "Poison" command for aggregate "order-1"
    And I send an "AddItem" command for aggregate "order-1"
    And everything has settled
    And the projector "receipt" takes "PoisonDone" from now on
    And I retry the dead letters of "projector/receipt"
    Then the decision is about:
      | component         | aggregate | sequence | state | note     |
      | projector/receipt | order-1   | 1        | retry | retry by |
    And the dead letters listed of "receipt" come to be:
      | component         | aggregate | sequence | attempts | state    | reason                                              |
      | projector/receipt | order-1   | 1        | 2        | resolved | cannot read this                                    |
      | projector/receipt | order-1   | 2        | 1        | resolved | waits behind an earlier event of the same aggregate |
    When I send an "AddItem" command for aggregate "order-1"
    And everything has settled
    Then the projector "receipt" has handled the events 0 to 3 of aggregate "order-1" once each, in order
    And there are no dead letters of "projector/receipt"

  Scenario: What fails again stays where it is, and so does what waits behind it
    When I send a "Poison" command for aggregate "order-1"
    And I send an "AddItem" command for aggregate "order-1"
    And I send a "Poison" command for aggregate "order-2"
    And everything has settled
    And I retry the dead letters of "projector/receipt" of aggregate "order-1"
    Then the dead letters listed of "receipt" come to be:
      | component         | aggregate | sequence | attempts | state  | reason           |
      | projector/receipt | order-1   | 0        | 2        | parked | cannot read this |
      | projector/receipt | order-1   | 1        | 0        | parked | waits            |
      | projector/receipt | order-2   | 0        | 1        | parked | cannot read this |

  Scenario: A skipped dead letter is given up, and what waited behind it goes on
    When I send a "Poison" command for aggregate "order-1"
    And I send an "AddItem" command for aggregate "order-1"
    And everything has settled
    And I skip the first dead letter of "projector/receipt" because "it was a test"
    Then the decision is about:
      | component         | aggregate | sequence | state   | note          |
      | projector/receipt | order-1   | 0        | skipped | it was a test |
    And the dead letters listed of "receipt" come to be:
      | component         | aggregate | sequence | attempts | state    | note          |
      | projector/receipt | order-1   | 0        | 1        | skipped  | it was a test |
      | projector/receipt | order-1   | 1        | 1        | resolved |               |
    And the projector "receipt" has handled 1 event of aggregate "order-1"

  Scenario: Decisions outlive a restart
    When I send a "Poison" command for aggregate "order-1"
    And everything has settled
    And the node is restarted
    And the projector "receipt" takes "PoisonDone" from now on
    And I retry the dead letters of "projector/receipt" of aggregate "order-1"
    Then the dead letters listed of "receipt" come to be:
      | component         | aggregate | sequence | attempts | state    |
      | projector/receipt | order-1   | 0        | 2        | resolved |

  Scenario: Nobody gives events up without a reason
    When I send a "Poison" command for aggregate "order-1"
    And everything has settled
    And I skip the first dead letter of "projector/receipt" because ""
    Then the decision is refused with INVALID_ARGUMENT and says "note: found nothing"

  Scenario: There must be something to decide about
    When I retry the dead letters of "projector/receipt"
    Then the decision is refused with NOT_FOUND and says "no dead letters that wait are selected"

  Scenario: A dead letter shows the events that it stands for
    When I send a "Poison" command for aggregate "order-1" with correlation id "checkout-42"
    And everything has settled
    Then the first dead letter of "projector/receipt" shows the events:
      | sequence | event_type |
      | 0        | PoisonDone |

  Scenario: How far every component has come can be seen
    When I send an "AddItem" command for aggregate "order-1"
    And everything has settled
    Then the slices of "projector/receipt" are each worked on by an instance
