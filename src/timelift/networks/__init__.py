"""Image networks, their layers in order of execution, and the places that name layers."""
