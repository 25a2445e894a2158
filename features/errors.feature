Feature: Errors

  Whatever is wrong, somebody is told what it is and where, and nothing that was stored is harmed.

  Scenario Outline: A command book that cannot be understood is refused, and the answer names the field
    Given a domain "orders"
    And the command book:
      | domain       | <domain>       |
      | root         | <root>         |
      | type_url     | <type_url>     |
      | empty_page   | <empty_page>   |
    When I send the command book <door>
    Then the command fails with INVALID_ARGUMENT "<message>"
    And the business logic of "orders" has been called 0 times

    Examples:
      | domain | root                               | type_url | empty_page | door               | message                                                                        |
      |        |                                    | AddItem  |            | at the gateway     | cover: found nothing, expected the aggregate's domain and root                 |
      |        |                                    | AddItem  |            | at the coordinator | cover: found nothing, expected the aggregate's domain and root                 |
      |        |                                    | AddItem  |            | in mode CASCADE    | cover: found nothing, expected the aggregate's domain and root                 |
      |        | 01010101010101010101010101010101   | AddItem  |            | at the gateway     | cover.domain: found nothing, expected the name of a domain, such as "customer" |
      |        | 01010101010101010101010101010101   | AddItem  |            | at the coordinator | cover.domain: found nothing, expected the name of a domain, such as "customer" |
      | orders |                                    | AddItem  |            | at the gateway     | cover.root: found nothing, expected 16 bytes, or an aggregate_id instead       |
      | orders |                                    | AddItem  |            | at the coordinator | cover.root: found nothing, expected 16 bytes, or an aggregate_id instead       |
      | orders | 010101010101010101010101010101     | AddItem  |            | at the gateway     | cover.root.value: found 15 bytes, expected exactly 16 bytes                    |
      | orders | 0101010101010101010101010101010101 | AddItem  |            | at the coordinator | cover.root.value: found 17 bytes, expected exactly 16 bytes                    |
      | orders | 01010101010101010101010101010101   |          |            | at the gateway     | pages: found no pages, expected at least one command page                      |
      | orders | 01010101010101010101010101010101   |          |            | at the coordinator | pages: found no pages, expected at least one command page                      |
      | orders | 01010101010101010101010101010101   |          | true       | at the gateway     | pages[0].command: found nothing, expected a command in a google.protobuf.Any   |
      | orders | 01010101010101010101010101010101   | AddItem  | true       | at the coordinator | pages[1].command: found nothing, expected a command in a google.protobuf.Any   |

  Scenario Outline: A domain that nobody serves is not found, and the answer lists the others
    Given a domain "orders"
    And a domain "stock"
    When I send an "AddItem" command for aggregate "order-1" in domain "odrers" <door>
    Then the command fails with NOT_FOUND "No service registered for domain: odrers (known: orders, stock)"

    Examples:
      | door               |
      | at the gateway     |
      | at the coordinator |
      | in mode CASCADE    |

  Scenario: A service that is down is named with its address
    Given a domain "orders"
    And the business logic of "orders" is down
    When I send an "AddItem" command for aggregate "order-1"
    Then the command fails with UNAVAILABLE and says "domain orders's service at "
    And the command fails with UNAVAILABLE and says "is not reachable"
    And the command fails with UNAVAILABLE and says "service.sock"
    And the command fails with UNAVAILABLE and says "is it running?"
    And 0 events total exist for aggregate "order-1"

  Scenario: A service that comes back is used again
    Given a domain "orders"
    And the business logic of "orders" is down
    When I send an "AddItem" command for aggregate "order-1" without waiting
    And the business logic of "orders" is up again
    Then the command is accepted

  Scenario: A service that is restarted under a command decides it after all
    Given a domain "orders"
    And the business logic of "orders" is held
    When I send an "AddItem" command for aggregate "order-1" without waiting
    And the business logic of "orders" is at work
    And the business logic of "orders" is down
    And the business logic of "orders" is released
    And the business logic of "orders" is up again
    Then the command is accepted
    And 1 event total exists for aggregate "order-1"

  Scenario: The gateway's health follows the services behind it
    Given a domain "orders"
    Then the health of the gateway comes to be SERVING
    When the business logic of "orders" is down
    Then the health of the gateway comes to be NOT_SERVING
    When the business logic of "orders" is up again
    Then the health of the gateway comes to be SERVING

  Scenario: A service that is too slow is given up and named
    Given a domain "orders"
    And the business logic of "orders" may take 300ms
    And on "Think" the business logic of "orders" never answers
    When I send a "Think" command for aggregate "order-1"
    Then the command fails with DEADLINE_EXCEEDED and says "domain orders's service at "
    And the command fails with DEADLINE_EXCEEDED and says "did not answer"
    And 0 events total exist for aggregate "order-1"
    When I send an "AddItem" command for aggregate "order-1"
    Then the command is accepted

  Scenario: A caller's deadline passes, and nothing is stored
    Given a domain "orders"
    And on "Think" the business logic of "orders" never answers
    When I send a "Think" command for aggregate "order-1" within 300ms
    Then the command fails with DEADLINE_EXCEEDED and says ""
    And 0 events total exist for aggregate "order-1"

  Scenario Outline: A service that answers wrongly is named with its fault, and nothing is stored
    Given 2 prior events for aggregate "order-1" in domain "orders"
    And on "Bad" the business logic of "orders" <manner>
    When I send a "Bad" command for aggregate "order-1" with auto_resequence
    Then the command fails with INTERNAL and says "domain orders's service at "
    And the command fails with INTERNAL and says "<fault>"
    And 2 events total exist for aggregate "order-1"
    When I send an "AddItem" command for aggregate "order-1"
    Then the command is accepted

    Examples:
      | manner                        | fault                                                                       |
      | answers for another aggregate | the answer is for root 00000000000000000000000000000000, the command was for |
      | leaves a gap                  | pages[0] has number 3, expected 2                                           |
      | starts over                   | pages[0] has number 0, expected 2                                           |
      | answers with an empty page    | pages[0] carries no event                                                   |
      | answers for another domain    | the answer is for domain                                                    |
      | answers with 20 MiB           | limits.max_message_bytes is 16777216                                        |

  Scenario: A service that answers with garbage is named
    Given a domain "orders" whose service answers garbage
    When I send an "AddItem" command for aggregate "order-1"
    Then the command fails with INTERNAL and says "domain orders's service at "
    And the command fails with INTERNAL and says "answered what cannot be read"
    And 0 events total exist for aggregate "order-1"

  Scenario: A command that is too large is refused
    Given a domain "orders"
    When I send an "AddItem" command for aggregate "order-1" with 20 MiB of payload
    Then the command fails with RESOURCE_EXHAUSTED and says "larger than max"
    And 0 events total exist for aggregate "order-1"

  Scenario: Too many commands for one aggregate are told to come back, and the others are done
    Given a domain "orders"
    And the business logic of "orders" is held
    When 70 clients at once each send an "AddItem" command for aggregate "order-1" with auto_resequence
    And 5 commands have been answered
    And the business logic of "orders" is released
    Then exactly 65 of the 70 commands are accepted and the others fail with RESOURCE_EXHAUSTED
    And aggregate "order-1" holds the events 0 to 64

  Scenario: A poisonous event holds up its own aggregate only
    Given a domain "orders"
    And a projector "receipt"
    And the projector "receipt" refuses "PoisonDone" with INVALID_ARGUMENT "cannot read this"
    When I send an "AddItem" command for aggregate "order-1"
    And I send a "Poison" command for aggregate "order-1"
    And I send an "AddItem" command for aggregate "order-1"
    And I send an "AddItem" command for aggregate "order-2"
    And everything has settled
    Then the dead letters of "projector/receipt" are:
      | aggregate | sequence | attempts | reason                                              |
      | order-1   | 1        | 1        | cannot read this                                    |
      | order-1   | 2        | 0        | waits behind an earlier event of the same aggregate |
    And the projector "receipt" has handled 1 event of aggregate "order-1"
    And the projector "receipt" has handled 1 event of aggregate "order-2"

  Scenario: Dead letters survive a restart and still hold up their aggregate
    Given a domain "orders"
    And a projector "receipt"
    And the projector "receipt" refuses "PoisonDone" with INVALID_ARGUMENT "cannot read this"
    When I send a "Poison" command for aggregate "order-1"
    And everything has settled
    And the node is restarted
    And I send an "AddItem" command for aggregate "order-1"
    And everything has settled
    Then the dead letters of "projector/receipt" are:
      | aggregate | sequence | attempts | reason                                              |
      | order-1   | 0        | 1        | cannot read this                                    |
      | order-1   | 1        | 0        | waits behind an earlier event of the same aggregate |

  Scenario Outline: A failure that may pass is tried again, but not for ever
    Given a domain "orders"
    And a projector "receipt"
    And the projector "receipt" refuses "AddItemDone" with <code> "not now"
    When I send an "AddItem" command for aggregate "order-1"
    And everything has settled
    Then the dead letters of "projector/receipt" are:
      | aggregate | sequence | attempts | reason  |
      | order-1   | 0        | 6        | not now |
    And the projector "receipt" has been called 6 times for aggregate "order-1"

    Examples:
      | code               |
      | UNAVAILABLE        |
      | RESOURCE_EXHAUSTED |

  Scenario: A projector that is down is waited for and nothing becomes a dead letter
    Given a domain "orders"
    And a projector "receipt"
    And the projector "receipt" is down
    When I send 3 "AddItem" commands for aggregate "order-1"
    And the projector "receipt" is up again
    Then the projector "receipt" has handled the events 0 to 2 of aggregate "order-1" once each, in order
    And there are no dead letters of "projector/receipt"

  Scenario: A book without events is not a book to hand over
    Given a domain "orders"
    And a projector "receipt"
    When the events 1 to 0 of aggregate "order-1" are handed to the projector "receipt" under correlation "c-1"
    Then the book is refused with INVALID_ARGUMENT and says "pages: found no pages, expected at least one event"
