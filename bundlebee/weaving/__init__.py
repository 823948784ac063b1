"""libcst: find join points, splice advice, restore positions, cache; and the code swap behind it."""
