"""Services: a room each, with its objects and a pure planner."""
