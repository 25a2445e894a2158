Feature: Compensation

  When a saga's command is rejected, the aggregate whose event made the saga act is asked to undo what it can. What it
  cannot undo is never forgotten.

  Background:
    Given a domain "orders"
    And a domain "stock"
    And on "Reserve" the business logic of "stock" refuses with FAILED_PRECONDITION "sold out"
    And a saga "reserve" from "orders" that reacts with:
      | event     | command | domain | aggregate |
      | PlaceDone | Reserve | stock  | shelf-1   |

  Scenario: The rejected command goes back to the aggregate that caused it
    When I send a "Place" command for aggregate "order-1" with correlation id "checkout-42"
    Then the business logic of "orders" has received the revocation request:
      | aggregate                 | order-1     |
      | correlation_id            | checkout-42 |
      | auto_resequence           | true        |
      | fact                      | true        |
      | triggering_event_sequence | 0           |
      | saga_name                 | reserve     |
      | rejection_reason          | sold out    |
      | rejected_command          | Reserve     |

  Scenario: The number is that of the event that made the saga act
    Given 3 prior events for aggregate "order-1" in domain "orders"
    When I send a "Place" command for aggregate "order-1"
    Then the business logic of "orders" has received the revocation request:
      | triggering_event_sequence | 3 |

  Scenario: A revocation by the target is a rejection as well
    Given on "Reserve" the business logic of "stock" revokes because "under repair" and asks for abort
    When I send a "Place" command for aggregate "order-1"
    Then the business logic of "orders" has received the revocation request:
      | rejection_reason | Command revoked: under repair |

  Scenario: A domain that nobody serves is a rejection as well
    Given a saga "lost" from "orders" that reacts with:
      | event   | command | domain  | aggregate |
      | PayDone | Reserve | nowhere | shelf-1   |
    When I send a "Pay" command for aggregate "order-1"
    Then the business logic of "orders" has received the revocation request:
      | saga_name        | lost                                                                               |
      | rejection_reason | No service registered for domain: nowhere (known: orders, stock) |

  Scenario: The events it answers with are stored
    Given on "RevokeEventCommand" the business logic of "orders" answers with the event "OrderUndone"
    When I send a "Place" command for aggregate "order-1" in mode CASCADE
    Then the command is accepted
    And aggregate "order-1" holds the events:
      | sequence | event_type  |
      | 0        | PlaceDone   |
      | 1        | OrderUndone |
    And no failed compensation is stored
    And there are no dead letters of "saga/reserve/compensation"

  Scenario: Compensation happens once, however often the event comes
    Given on "RevokeEventCommand" the business logic of "orders" answers with the event "OrderUndone"
    And the saga "reserve" is held
    When I send a "Place" command for aggregate "order-1"
    And the node dies before it records what the saga "reserve" has done
    And everything has settled
    Then the saga "reserve" has been called 2 times for "PlaceDone" of aggregate "order-1"
    And aggregate "order-1" holds the events:
      | sequence | event_type  |
      | 0        | PlaceDone   |
      | 1        | OrderUndone |

  Scenario Outline: A revocation may ask for a dead letter
    Given on "RevokeEventCommand" the business logic of "orders" revokes because "already shipped" and asks for a dead letter
    When I send a "Place" command for aggregate "order-1" <mode>
    And I send a "Pay" command for aggregate "order-1"
    And everything has settled
    Then the dead letters of "saga/reserve/compensation" are:
      | aggregate | sequence | attempts | reason                                                        |
      | order-1   | 0        | 1        | command rejected: sold out; not compensated: already shipped |
    And there are no dead letters of "saga/reserve"
    And the saga "reserve" has handled 2 events of aggregate "order-1"
    And no failed compensation is stored

    Examples:
      | mode            |
      | at the gateway  |
      | in mode CASCADE |

  Scenario: A revocation may ask for escalation, and a person is told
    Given an escalation webhook
    And on "RevokeEventCommand" the business logic of "orders" revokes because "already shipped" and asks for escalation
    When I send a "Place" command for aggregate "order-1" with correlation id "checkout-42"
    And everything has settled
    Then the webhook has been told:
      | saga                        | reserve         |
      | domain                      | orders          |
      | aggregate_id                | order-1         |
      | sequence                    | 0               |
      | correlation_id              | checkout-42     |
      | command_domain              | stock           |
      | command_type                | Reserve         |
      | rejection_reason            | sold out        |
      | compensation_failure_reason | already shipped |
    And no failed compensation is stored

  Scenario: A revocation may ask for abort, and the caller who waits is told
    Given on "RevokeEventCommand" the business logic of "orders" revokes because "already shipped" and asks for abort
    When I send a "Place" command for aggregate "order-1" in mode CASCADE
    Then the command fails with ABORTED and says "saga reserve: command rejected: sold out; not compensated: already shipped"
    And 1 event total exists for aggregate "order-1"
    And no failed compensation is stored

  Scenario: Abort concerns only callers who wait
    Given on "RevokeEventCommand" the business logic of "orders" revokes because "already shipped" and asks for abort
    When I send a "Place" command for aggregate "order-1" in mode SIMPLE
    Then the command is accepted

  Scenario: A revocation may ask for a system revocation, and the failure is stored once
    Given on "RevokeEventCommand" the business logic of "orders" revokes because "already shipped" and asks for a system revocation
    When I send a "Place" command for aggregate "order-1" in mode CASCADE
    And everything has settled
    Then the failed compensations stored are:
      | aggregate | sequence | saga    | rejection | failure         | command |
      | order-1   | 0        | reserve | sold out  | already shipped | Reserve |

  # Only the bus inside a process can be told how to misbehave; what a broker does wrong by itself is tried in its driver.
  @in-process
  Scenario Outline: A revocation may ask for everything at once
    Given a bus that <does> messages
    And an escalation webhook
    And on "RevokeEventCommand" the business logic of "orders" revokes because "already shipped" and asks for a dead letter, escalation, abort and a system revocation
    When I send a "Place" command for aggregate "order-1" in mode CASCADE
    Then the command fails with ABORTED and says "not compensated: already shipped"
    When everything has settled
    Then the dead letters of "saga/reserve/compensation" are:
      | aggregate | sequence | attempts | reason          |
      | order-1   | 0        | 1        | already shipped |
    And the webhook has been told:
      | compensation_failure_reason | already shipped |
    And the failed compensations stored are:
      | aggregate | sequence | saga    | rejection | failure         | command |
      | order-1   | 0        | reserve | sold out  | already shipped | Reserve |

    Examples:
      | does    |
      | doubles |
      | loses   |

  Scenario: A revocation may ask for nothing, and nothing more is done
    Given an escalation webhook
    And on "RevokeEventCommand" the business logic of "orders" revokes because "never mind"
    When I send a "Place" command for aggregate "order-1" in mode CASCADE
    And everything has settled
    Then the command is accepted
    And no failed compensation is stored
    And the webhook has been told nothing
    And there are no dead letters of "saga/reserve/compensation"

  Scenario Outline: A service that cannot compensate leads to the fallback
    Given on "RevokeEventCommand" the business logic of "orders" <manner>
    When I send a "Place" command for aggregate "order-1" in mode CASCADE
    And everything has settled
    Then the command is accepted
    And the failed compensations stored are:
      | aggregate | sequence | saga    | rejection | failure   | command |
      | order-1   | 0        | reserve | sold out  | <failure> | Reserve |

    Examples:
      | manner                                        | failure                            |
      | answers with nothing                          | the aggregate answered with nothing |
      | refuses with UNIMPLEMENTED "what is RevokeEventCommand?" | what is RevokeEventCommand? |
      | refuses with INTERNAL "boom"                  | boom                               |

  Scenario: The fallback does what is configured
    Given an escalation webhook
    And the configuration "saga_compensation.fallback_emit_system_revocation" is "false"
    And the configuration "saga_compensation.fallback_send_to_dlq" is "true"
    And the configuration "saga_compensation.fallback_escalate" is "true"
    And on "RevokeEventCommand" the business logic of "orders" refuses with INTERNAL "boom"
    When I send a "Place" command for aggregate "order-1"
    And everything has settled
    Then no failed compensation is stored
    And the dead letters of "saga/reserve/compensation" are:
      | aggregate | sequence | attempts | reason                                             |
      | order-1   | 0        | 1        | command rejected: sold out; not compensated: boom |
    And the webhook has been told:
      | compensation_failure_reason | boom |

  Scenario: Failures are stored in the domain that is configured
    Given the configuration "saga_compensation.fallback_domain" is "failures"
    And on "RevokeEventCommand" the business logic of "orders" answers with nothing
    When I send a "Place" command for aggregate "order-1"
    And everything has settled
    Then the failed compensations stored are:
      | aggregate | sequence | saga    | rejection | failure                             | command |
      | order-1   | 0        | reserve | sold out  | the aggregate answered with nothing | Reserve |

  Scenario: A failure is stored once, however often the event comes
    Given on "RevokeEventCommand" the business logic of "orders" answers with nothing
    And the saga "reserve" is held
    When I send a "Place" command for aggregate "order-1"
    And the node dies before it records what the saga "reserve" has done
    And everything has settled
    Then the saga "reserve" has been called 2 times for aggregate "order-1"
    And the failed compensations stored are:
      | aggregate | sequence | saga    | rejection | failure                             | command |
      | order-1   | 0        | reserve | sold out  | the aggregate answered with nothing | Reserve |

  Scenario: Each rejected command is compensated for itself
    Given a saga "twice" from "orders" that reacts with:
      | event   | command | domain | aggregate |
      | PayDone | Reserve | stock  | shelf-1   |
      | PayDone | Reserve | stock  | shelf-2   |
    And on "RevokeEventCommand" the business logic of "orders" answers with the event "Undone"
    When I send a "Pay" command for aggregate "order-1" in mode CASCADE
    Then aggregate "order-1" holds the events:
      | sequence | event_type |
      | 0        | PayDone    |
      | 1        | Undone     |
      | 2        | Undone     |

  Scenario: A refused command is not sent again with its book, even if it would be accepted by now
    Given a domain "depot"
    And a saga "both" from "orders" that reacts with:
      | event   | command | domain | aggregate |
      | PayDone | Reserve | stock  | shelf-1   |
      | PayDone | Fetch   | depot  | shelf-2   |
    And on "RevokeEventCommand" the business logic of "orders" answers with the event "Undone"
    And the business logic of "depot" is down
    When I send a "Pay" command for aggregate "order-1"
    And the business logic of "orders" has received the revocation request:
      | saga_name | both |
    And on "Reserve" the business logic of "stock" answers with the event "Reserved"
    And the business logic of "depot" is up again
    And everything has settled
    Then the business logic of "stock" has been called 1 time
    And 0 events total exist for aggregate "shelf-1" in domain "stock"
    And 1 event total exists for aggregate "shelf-2" in domain "depot"
    And aggregate "order-1" holds the events:
      | sequence | event_type |
      | 0        | PayDone    |
      | 1        | Undone     |

  Scenario: A retried dead letter of compensation sends the refused command again
    Given on "RevokeEventCommand" the business logic of "orders" revokes because "already shipped" and asks for a dead letter
    When I send a "Place" command for aggregate "order-1"
    And everything has settled
    And on "Reserve" the business logic of "stock" answers with the event "Reserved"
    And I retry the dead letters of "saga/reserve/compensation"
    Then the dead letters listed of "saga/reserve/compensation" come to be:
      | component                 | aggregate | sequence | attempts | state    | reason                     |
      | saga/reserve/compensation | order-1   | 0        | 2        | resolved | command rejected: sold out |
    And 1 event total exists for aggregate "shelf-1" in domain "stock"

  Scenario: What is refused once more becomes the same dead letter
    Given on "RevokeEventCommand" the business logic of "orders" revokes because "already shipped" and asks for a dead letter
    When I send a "Place" command for aggregate "order-1"
    And everything has settled
    And on "Reserve" the business logic of "stock" refuses with FAILED_PRECONDITION "never again"
    And I retry the dead letters of "saga/reserve/compensation"
    Then the dead letters listed of "saga/reserve/compensation" come to be:
      | component                 | aggregate | sequence | attempts | state  | reason                        |
      | saga/reserve/compensation | order-1   | 0        | 2        | parked | command rejected: never again |

  Scenario: A webhook that is out of order for a moment is told all the same
    Given an escalation webhook that answers 503 the first 2 times
    And on "RevokeEventCommand" the business logic of "orders" revokes because "already shipped" and asks for escalation
    When I send a "Place" command for aggregate "order-1"
    And everything has settled
    Then the webhook has been told:
      | compensation_failure_reason | already shipped |
    And there are no dead letters of "saga/reserve/compensation"

  Scenario: What the webhook does not take is a dead letter
    Given an escalation webhook that answers 404 the first 100 times
    And on "RevokeEventCommand" the business logic of "orders" revokes because "already shipped" and asks for escalation
    When I send a "Place" command for aggregate "order-1"
    And everything has settled
    Then the webhook has been told nothing
    And the dead letters of "saga/reserve/compensation" are:
      | aggregate | sequence | attempts | reason                                                   |
      | order-1   | 0        | 1        | nobody could be told: the webhook answered 404 Not Found |
