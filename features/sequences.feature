Feature: Sequences

  A command says which number the sender believes to be next, so that nobody decides on a state that is gone.

  Background:
    Given 5 prior events for aggregate "order-1" in domain "orders"

  Scenario: The next number is accepted
    When I send an "AddItem" command for aggregate "order-1" at sequence 5
    Then the command is accepted
    And aggregate "order-1" holds the events 0 to 5

  Scenario Outline: Any other number is refused, and the answer says which one is next
    When I send an "AddItem" command for aggregate "order-1" at sequence <sequence>
    Then the command fails with FAILED_PRECONDITION "Sequence mismatch: command expects <sequence>, aggregate at 5"
    And the error carries next_sequence "5"
    And the error carries expected_sequence "<sequence>"
    And the business logic of "orders" has been called 0 times
    And aggregate "order-1" holds the events 0 to 4

    Examples:
      | sequence   |
      | 0          |
      | 3          |
      | 6          |
      | 4294967295 |

  Scenario: A new aggregate takes 0 and nothing else
    When I send an "AddItem" command for aggregate "order-new" in domain "orders" at sequence 1
    Then the command fails with FAILED_PRECONDITION "Sequence mismatch: command expects 1, aggregate at 0"
    When I send an "AddItem" command for aggregate "order-new" in domain "orders" at sequence 0
    Then the command is accepted

  Scenario: Only the first page's number is looked at
    When I send the commands "AddItem", "AddItem" together for aggregate "order-1" at sequence 5
    Then the command is accepted
    And aggregate "order-1" holds the events 0 to 6

  Scenario: Two clients that know the same number cannot both be first
    When I send an "AddItem" command for aggregate "order-1" at sequence 5
    And I send an "AddItem" command for aggregate "order-1" at sequence 5
    Then the command fails with FAILED_PRECONDITION "Sequence mismatch: command expects 5, aggregate at 6"
