Feature: To-do lists

  Scenario: A task is added
    When I send an "AddTask" command for aggregate "groceries" in domain "todo":
      | title |
      | milk  |
    Then the events are:
      | event_type | title |
      | TaskAdded  | milk  |

  Scenario: A task is not added twice
    Given prior events for aggregate "groceries" in domain "todo":
      | event_type | title |
      | TaskAdded  | milk  |
    When I send an "AddTask" command for aggregate "groceries":
      | title |
      | milk  |
    Then the command is rejected with "Task "milk" is already on the list"

  Scenario: The last task completes the list
    Given prior events for aggregate "groceries" in domain "todo":
      | event_type    | title |
      | TaskAdded     | milk  |
      | TaskCompleted | milk  |
      | TaskAdded     | tea   |
    When I send a "CompleteTask" command for aggregate "groceries":
      | title |
      | tea   |
    Then the events are:
      | event_type    | title | tasks |
      | TaskCompleted | tea   |       |
      | ListCompleted |       | 2     |
    And 5 events total exist for aggregate "groceries"

  Scenario Outline: Every task needs a title
    Given no prior events for aggregate "groceries" in domain "todo"
    When I send an "AddTask" command for aggregate "groceries":
      | title   |
      | <title> |
    Then the command is rejected with <code>

    Examples:
      | title | code             |
      |       | INVALID_ARGUMENT |
