Feature: Correlation

  One id joins everything that one request causes.

  Scenario: A correlation id that the client gives is kept
    Given a domain "orders"
    When I send a "CreateOrder" command for aggregate "order-1" with correlation id "checkout-42"
    Then the answer carries the correlation id "checkout-42"
    And the correlation "checkout-42" has caused the events:
      | domain | aggregate | event_type      |
      | orders | order-1   | CreateOrderDone |

  Scenario Outline: Without one it is derived from the command, the same for everybody
    Given a domain "customer"
    And the command book:
      | domain          | customer                                                         |
      | root            | 000102030405060708090a0b0c0d0e0f                                 |
      | type_url        | type.googleapis.com/examples.CreateCustomer                      |
      | payload         | 0a05416c6963651211616c696365406578616d706c652e636f6d             |
      | auto_resequence | <auto_resequence>                                                |
      | fact            | <fact>                                                           |
    When I send the command book <door>
    Then the correlation id of the command book is "<correlation_id>"
    And the answer carries the correlation id "<correlation_id>"

    Examples:
      | auto_resequence | fact  | door               | correlation_id                       |
      | false           | false | at the gateway     | 382b20ee-b5ef-5c15-9046-278e030912f8 |
      | false           | false | at the coordinator | 382b20ee-b5ef-5c15-9046-278e030912f8 |
      | true            | true  | at the gateway     | 78410e43-fcf1-557c-9753-dae97b9a4b9f |
      | true            | true  | at the coordinator | 78410e43-fcf1-557c-9753-dae97b9a4b9f |

  Scenario: Even a book without pages has one
    Given the command book:
      | domain | orders                           |
      | root   | 01010101010101010101010101010101 |
    Then the correlation id of the command book is "9f4c7ce4-1a1b-5c0c-a286-db56a66c76ef"

  Scenario: It travels through sagas and what they cause
    Given a domain "orders"
    And a domain "stock"
    And a domain "parcels"
    And a saga "reserve" from "orders" that reacts with:
      | event     | command | domain | aggregate |
      | PlaceDone | Reserve | stock  | shelf-1   |
    And a saga "pack" from "stock" that reacts with:
      | event       | command | domain  | aggregate |
      | ReserveDone | Pack    | parcels | parcel-1  |
    When I send a "Place" command for aggregate "order-1" in mode CASCADE with correlation id "checkout-42"
    Then the correlation "checkout-42" has caused the events:
      | domain  | aggregate | event_type  | correlation_id |
      | orders  | order-1   | PlaceDone   | checkout-42    |
      | stock   | shelf-1   | ReserveDone | checkout-42    |
      | parcels | parcel-1  | PackDone    | checkout-42    |

  Scenario: It travels through compensation
    Given a domain "orders"
    And on "RevokeEventCommand" the business logic of "orders" answers with the event "OrderUndone"
    And a domain "stock"
    And on "Reserve" the business logic of "stock" refuses with FAILED_PRECONDITION "sold out"
    And a saga "reserve" from "orders" that reacts with:
      | event     | command | domain | aggregate |
      | PlaceDone | Reserve | stock  | shelf-1   |
    When I send a "Place" command for aggregate "order-1" in mode CASCADE with correlation id "checkout-42"
    Then the correlation "checkout-42" has caused the events:
      | domain | aggregate | event_type  |
      | orders | order-1   | PlaceDone   |
      | orders | order-1   | OrderUndone |

  Scenario: It travels into the record of a failed compensation
    Given a domain "orders"
    And on "RevokeEventCommand" the business logic of "orders" answers with nothing
    And a domain "stock"
    And on "Reserve" the business logic of "stock" refuses with FAILED_PRECONDITION "sold out"
    And a saga "reserve" from "orders" that reacts with:
      | event     | command | domain | aggregate |
      | PlaceDone | Reserve | stock  | shelf-1   |
    When I send a "Place" command for aggregate "order-1" in mode CASCADE with correlation id "checkout-42"
    Then the correlation "checkout-42" has caused the events:
      | domain                | event_type             |
      | orders                | PlaceDone              |
      | angzarr.saga-failures | SagaCompensationFailed |

  Scenario Outline: A person's name for an aggregate leads to its root
    Given a domain "<domain>"
    When I send a "Touch" command for aggregate "<name>" in domain "<domain>" by its name
    Then the answer is for the root "<root>"

    Examples:
      | domain    | name                                 | root                                 |
      | customer  | alice@example.com                    | b1019e12-b184-5695-b4bd-4fdab04e7322 |
      | inventory | prod-1                               | a4575765-6ab1-5553-9525-c4963861c0d9 |
      | customer  | 00010203-0405-0607-0809-0a0b0c0d0e0f | 00010203-0405-0607-0809-0a0b0c0d0e0f |

  Scenario: The name is remembered and shown again
    Given a domain "customer"
    And the command book:
      | domain   | customer                             |
      | root     | b1019e12-b184-5695-b4bd-4fdab04e7322 |
      | type_url | Greet                                |
    When I send a "Create" command for aggregate "alice@example.com" by its name
    And the node is restarted
    And I send the command book with auto_resequence
    Then the answer is for the aggregate named "alice@example.com"
