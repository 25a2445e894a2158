Feature: Gap repair

  The log is the truth and the bus a hint: whatever the bus does, a projector gets every event once and in order.

  # Only the bus inside a process can be told how to misbehave; what a broker does wrong by itself is tried in its driver.
  @in-process
  Scenario Outline: A bad bus costs time and never an event
    Given a domain "orders"
    And a projector "receipt"
    And a bus that <does> messages
    When I send 20 "AddItem" commands for aggregate "order-1"
    And I send 10 "AddItem" commands for aggregate "order-2"
    Then the projector "receipt" has handled the events 0 to 19 of aggregate "order-1" once each, in order
    And the projector "receipt" has handled the events 0 to 9 of aggregate "order-2" once each, in order
    When everything has settled
    Then the projector "receipt" has handled the events 0 to 19 of aggregate "order-1" once each, in order

    Examples:
      | does                       |
      | drops, doubles and reorders |
      | doubles                    |
      | loses                      |

  Scenario: A projector that comes late starts with the first event
    Given 4 prior events for aggregate "order-1" in domain "orders"
    And a projector "receipt"
    When I send an "AddItem" command for aggregate "order-1"
    Then the projector "receipt" has handled the events 0 to 4 of aggregate "order-1" once each, in order

  Scenario: A projector goes on after a restart where it had come to
    Given a domain "orders"
    And a projector "receipt"
    When I send 3 "AddItem" commands for aggregate "order-1"
    And everything has settled
    And the node is restarted
    And I send 2 "AddItem" commands for aggregate "order-1"
    And everything has settled
    Then the projector "receipt" has handled the events 0 to 4 of aggregate "order-1" once each, in order

  Scenario: What a projector has done but not recorded before a crash comes again
    Given a domain "orders"
    And a projector "receipt"
    And the projector "receipt" is held
    When I send an "AddItem" command for aggregate "order-1"
    And the node dies before it records what the projector "receipt" has done
    And everything has settled
    Then the projector "receipt" has been called 2 times for aggregate "order-1"

  # Each book comes as it was stored, under its own correlation: a saga's commands
  # are recognised by the book they come from.
  Scenario Outline: What is missing before a book that is handed over is handled first
    Given 6 prior events for aggregate "order-1" in domain "orders"
    And a projector "by-hand" of domain "other"
    When the events 3 to 4 of aggregate "order-1" are handed to the projector "by-hand" under correlation "c-1" <awaited>
    Then the book is taken
    And the projector "by-hand" has handled the events 0 to 4 of aggregate "order-1" once each, in order
    And the projector "by-hand" has received the books:
      | first | last | correlation_id |
      | 0     | 0    | prior-0        |
      | 1     | 1    | prior-1        |
      | 2     | 2    | prior-2        |
      | 3     | 4    | c-1            |

    Examples:
      | awaited       |
      | to be awaited |
      | in passing    |

  Scenario Outline: A book handed over twice is dropped
    Given 6 prior events for aggregate "order-1" in domain "orders"
    And a projector "by-hand" of domain "other"
    When the events 0 to 4 of aggregate "order-1" are handed to the projector "by-hand" under correlation "c-1" <awaited>
    And the events 3 to 4 of aggregate "order-1" are handed to the projector "by-hand" under correlation "c-2" <awaited>
    And the events 4 to 5 of aggregate "order-1" are handed to the projector "by-hand" under correlation "c-3" <awaited>
    Then the book is taken
    And the projector "by-hand" has received the books:
      | first | last | correlation_id |
      | 0     | 4    | c-1            |
      | 5     | 5    | c-3            |

    Examples:
      | awaited       |
      | to be awaited |
      | in passing    |

  Scenario: A book whose gap cannot be filled is refused
    Given 2 prior events for aggregate "order-1" in domain "orders"
    And a projector "by-hand" of domain "other"
    When the events 7 to 8 of aggregate "order-1" are handed to the projector "by-hand" under correlation "c-1"
    Then the book is refused with INVALID_ARGUMENT and says "the events between are not in the store"

  Scenario: A projector that wants the full history receives it with every book
    Given a domain "orders"
    And a projector "receipt" that wants the full history
    When I send 3 "AddItem" commands for aggregate "order-1" with correlation id "c-1"
    And everything has settled
    Then the projector "receipt" has received the books:
      | first | last | correlation_id |
      | 0     | 0    | c-1            |
      | 0     | 1    | c-1            |
      | 0     | 2    | c-1            |

  Scenario: A projector that wants the new events only receives each once
    Given a domain "orders"
    And a projector "receipt"
    When I send 3 "AddItem" commands for aggregate "order-1" with correlation id "c-1"
    And everything has settled
    Then the projector "receipt" has received the books:
      | first | last | correlation_id |
      | 0     | 0    | c-1            |
      | 1     | 1    | c-1            |
      | 2     | 2    | c-1            |
