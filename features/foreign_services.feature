Feature: Foreign services

  A service that somebody else wrote against the wire contract runs unchanged.

  Scenario Outline: Services number, name and serve as they like
    Given a domain "orders" whose service <manner>
    And a projector "receipt"
    When I send an "AddItem" command for aggregate "order-1"
    And I send the commands "AddItem", "AddItem" together for aggregate "order-1"
    And the node is restarted
    And I send an "AddItem" command for aggregate "order-1" in mode CASCADE
    Then the answer holds projections of "receipt"
    And aggregate "order-1" holds the events:
      | sequence | event_type  |
      | 0        | AddItemDone |
      | 1        | AddItemDone |
      | 2        | AddItemDone |
      | 3        | AddItemDone |
    And the projector "receipt" has handled the events 0 to 3 of aggregate "order-1" once each, in order

    Examples:
      | manner                                 |
      | counts pages                           |
      | numbers from its snapshot              |
      | keeps a snapshot every 3 events        |
      | leaves numbers out                     |
      | uses force                             |
      | leaves the cover out                   |
      | names its domain only                  |
      | has no health service                  |
      | listens on TCP                         |
      | sets its own times                     |
      | answers with unknown fields            |
      | writes type URLs like "type.examples/" |
      | writes type URLs like "type.angzarr/"  |
      | writes type URLs like ""               |

  Scenario Outline: The prefix of a type URL is kept and never looked at
    Given a domain "orders" whose service writes type URLs like "<prefix>"
    And a domain "stock"
    And a saga "reserve" from "orders" that reacts with:
      | event     | command | domain | aggregate |
      | PlaceDone | Reserve | stock  | shelf-1   |
    When I send a "<prefix>Place" command for aggregate "order-1" in mode CASCADE
    Then aggregate "order-1" holds the events:
      | type_url          |
      | <prefix>PlaceDone |
    And 1 event total exists for aggregate "shelf-1" in domain "stock"

    Examples:
      | prefix                   |
      | type.googleapis.com/     |
      | type.examples/           |
      | type.angzarr/            |
      | https://a.b/c/d/         |

  Scenario: A service without names for aggregates is given what it knows
    Given a domain "orders"
    And the command book:
      | domain   | orders                           |
      | root     | 01010101010101010101010101010101 |
      | type_url | AddItem                          |
    When I send the command book
    Then the answer is for the root "01010101-0101-0101-0101-010101010101"
    And the answer is for the aggregate named ""

  Scenario: Fields that angz does not know do no harm
    Given a domain "orders"
    And the command book:
      | domain        | orders                           |
      | root          | 01010101010101010101010101010101 |
      | type_url      | AddItem                          |
      | unknown_field | c80107                           |
    When I send the command book
    Then the command is accepted
