"""A card under churn and kills for hours: `make soak`."""
