"""What a service is: its objects and their file form, its planner, and how all of them make one plan."""
