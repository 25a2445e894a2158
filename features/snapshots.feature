Feature: Snapshots

  A service that returns its state does not need the whole history again. One that does not is never given less.

  Scenario: The service that made a snapshot receives it and what came after
    Given a domain "orders" whose service keeps a snapshot every 3 events
    When I send 5 "AddItem" commands for aggregate "order-1"
    And I send an "AddItem" command for aggregate "order-1"
    Then the business logic receives the command with a snapshot at 2 and 2 later events
    And aggregate "order-1" holds the events 0 to 5

  Scenario: A snapshot after every command stands for the whole history
    Given a domain "orders" whose service numbers from its snapshot
    When I send 4 "AddItem" commands for aggregate "order-1"
    Then the business logic receives the command with a snapshot at 2 and 0 later events
    And aggregate "order-1" holds the events 0 to 3

  Scenario: A snapshot survives a restart
    Given a domain "orders" whose service keeps a snapshot every 3 events
    When I send 5 "AddItem" commands for aggregate "order-1"
    And the node is restarted
    And I send an "AddItem" command for aggregate "order-1"
    Then the business logic receives the command with a snapshot at 2 and 2 later events
    And aggregate "order-1" holds the events 0 to 5

  Scenario Outline: A service that never made a snapshot always receives the whole history
    Given a domain "orders" whose service <manner>
    When I send 5 "AddItem" commands for aggregate "order-1"
    And I send an "AddItem" command for aggregate "order-1"
    Then the business logic receives the command with 5 prior events
    When the node is restarted
    And I send an "AddItem" command for aggregate "order-1"
    Then the business logic receives the command with 6 prior events

    Examples:
      | manner             |
      | counts pages       |
      | leaves numbers out |

  Scenario: Snapshots that are not to be read are not sent
    Given the configuration "storage.snapshots_enable.read" is "false"
    And a domain "orders" whose service numbers from its snapshot
    When I send 4 "AddItem" commands for aggregate "order-1"
    Then the business logic receives the command with 3 prior events
    When the node is restarted
    And I send an "AddItem" command for aggregate "order-1"
    Then the business logic receives the command with 4 prior events

  Scenario: They were kept nevertheless
    Given the configuration "storage.snapshots_enable.read" is "false"
    And a domain "orders" whose service numbers from its snapshot
    When I send 4 "AddItem" commands for aggregate "order-1"
    And the configuration "storage.snapshots_enable.read" is "true"
    And the node is restarted
    And I send an "AddItem" command for aggregate "order-1"
    Then the business logic receives the command with a snapshot at 3 and 0 later events

  Scenario: Snapshots that are not to be written are not kept
    Given the configuration "storage.snapshots_enable.write" is "false"
    And a domain "orders" whose service numbers from its snapshot
    When I send 4 "AddItem" commands for aggregate "order-1"
    Then the business logic receives the command with 3 prior events
    When the configuration "storage.snapshots_enable.write" is "true"
    And the node is restarted
    And I send an "AddItem" command for aggregate "order-1"
    Then the business logic receives the command with 4 prior events

  Scenario: A race lost to another process is run again on snapshot and tail
    Given a domain "orders" whose service keeps a snapshot every 3 events
    When I send 4 "AddItem" commands for aggregate "order-1"
    And the business logic of "orders" is held
    And I send an "AddItem" command for aggregate "order-1" with auto_resequence without waiting
    And the business logic of "orders" is at work
    And another process appends an "ItemRemoved" event to aggregate "order-1"
    And the business logic of "orders" is released
    Then the command is accepted
    And the business logic receives the command with a snapshot at 2 and 2 later events
    And aggregate "order-1" holds the events 0 to 5

  Scenario: Queries show the whole history whatever the snapshots
    Given a domain "orders" whose service numbers from its snapshot
    When I send 4 "AddItem" commands for aggregate "order-1"
    And I ask for the events of aggregate "order-1" as one book
    Then the query answers the numbers "0,1,2,3"
