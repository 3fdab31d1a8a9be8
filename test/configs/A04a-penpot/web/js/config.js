cfg = 1
