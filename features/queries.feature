Feature: Queries

  What is stored can be read: by aggregate and range, by time, by correlation.

  Background:
    Given 6 prior events for aggregate "order-1" in domain "orders"

  Scenario Outline: Bounds are inclusive, and 0 and 2^32-1 mean no upper bound
    When I ask for the events of aggregate "order-1" as <form> with lower_bound <lower> and upper_bound <upper>
    Then the query answers the numbers "<numbers>"

    Examples:
      | form                | lower | upper      | numbers     |
      | one book            | 0     | 0          | 0,1,2,3,4,5 |
      | one book            | 2     | 4          | 2,3,4       |
      | one book            | 2     | 2          | 2           |
      | one book            | 4     | 0          | 4,5         |
      | one book            | 4     | 4294967295 | 4,5         |
      | one book            | 4     | 99         | 4,5         |
      | one book            | 6     | 0          |             |
      | one book            | 4     | 3          |             |
      | stored books        | 2     | 4          | 2,3,4       |
      | stored books        | 4     | 4294967295 | 4,5         |
      | a synchronized book | 2     | 4          | 2,3,4       |

  Scenario Outline: Other ways to say where to begin and to end
    When I ask for the events of aggregate "order-1" as one book with <conditions>
    Then the query answers the numbers "<numbers>"

    Examples:
      | conditions                             | numbers |
      | from_sequence 4                        | 4,5     |
      | from_sequence 4 and lower_bound 2      | 4,5     |
      | from_sequence 2 and upper_bound 3      | 2,3     |
      | as_of_sequence 1                       | 0,1     |
      | as_of_sequence 0                       | 0       |
      | lower_bound 1 and as_of_sequence 2     | 1,2     |
      | upper_bound 1 and as_of_sequence 3     | 0,1     |

  Scenario Outline: An aggregate as it was at a time
    Given prior events for aggregate "order-2" in domain "orders":
      | sequence | event_type   | created_at           |
      | 0        | OrderCreated | 2024-01-15T10:00:00Z |
      | 1        | ItemAdded    | 2024-01-15T11:00:00Z |
      | 2        | ItemAdded    | 2024-01-15T12:00:00Z |
    When I ask for the events of aggregate "order-2" as one book with as_of_time "<time>"
    Then the query answers the numbers "<numbers>"

    Examples:
      | time                 | numbers |
      | 2024-01-15T09:59:59Z |         |
      | 2024-01-15T10:00:00Z | 0       |
      | 2024-01-15T11:30:00Z | 0,1     |
      | 2024-01-15T12:00:00Z | 0,1,2   |

  Scenario: One book holds everything, stored books are those of the commands
    When I send the commands "AddItem", "AddItem" together for aggregate "order-3" in domain "orders"
    And I send an "AddItem" command for aggregate "order-3"
    And I ask for the events of aggregate "order-3" as stored books
    Then the query answers 2 books
    And the query answers the numbers "0,1,2"
    When I ask for the events of aggregate "order-3" as one book
    Then the query answers 1 book
    And the query answers the numbers "0,1,2"

  Scenario: The events of one correlation, in the order in which they were stored
    When I send an "AddItem" command for aggregate "order-2" in domain "orders" with correlation id "c-1"
    And I send an "AddItem" command for aggregate "order-1" with correlation id "c-2"
    And I send an "AddItem" command for aggregate "order-3" in domain "orders" with correlation id "c-1"
    And I ask for the events with correlation_id "c-1"
    Then the query answers the events:
      | aggregate | sequence | event_type  | correlation_id |
      | order-2   | 0        | AddItemDone | c-1            |
      | order-3   | 0        | AddItemDone | c-1            |

  Scenario: The events of one correlation in one aggregate
    When I send an "AddItem" command for aggregate "order-1" with correlation id "c-1"
    And I send an "AddItem" command for aggregate "order-1" with correlation id "c-2"
    And I ask for the events of aggregate "order-1" as stored books with correlation_id "c-2"
    Then the query answers the numbers "7"

  Scenario: A correlation that nobody has used is empty
    When I ask for the events with correlation_id "never"
    Then the query answers 0 books

  Scenario Outline: An unknown aggregate is a book without pages
    When I ask for the events of aggregate "order-unknown" as <form>
    Then the query answers 1 book
    And the query answers the numbers ""
    And the query answers for aggregate "order-unknown"

    Examples:
      | form                |
      | one book            |
      | a synchronized book |

  Scenario: People's names lead to aggregates
    When I ask for the events with domain "orders" and aggregate_id "order-1" and lower_bound 4
    Then the query answers the events:
      | aggregate | sequence |
      | order-1   | 4        |
      | order-1   | 5        |

  Scenario Outline: A query that names no aggregate is refused and told why
    When I ask for the events with <conditions>
    Then the query fails with INVALID_ARGUMENT and says "<place>"

    Examples:
      | conditions                      | place                                        |
      | lower_bound 1                   | domain: found nothing                        |
      | domain "orders"                 | root: found nothing                          |
      | domain "orders" and root "short" | root.value: found 5 bytes, expected exactly 16 bytes |

  Scenario: All aggregates are listed with the names people gave them
    Given a domain "customer"
    When I send a "Create" command for aggregate "alice@example.com" in domain "customer"
    And I send a "Create" command for aggregate "00010203-0405-0607-0809-0a0b0c0d0e0f" in domain "customer"
    And I list the aggregates
    Then the list holds:
      | domain   | name              | root                                 |
      | customer |                   | 00010203-0405-0607-0809-0a0b0c0d0e0f |
      | customer | alice@example.com | b1019e12-b184-5695-b4bd-4fdab04e7322 |
      | orders   | order-1           | ce6870a6-1028-57ca-b007-00b9ec56aeda |
