"""The paper's experiments on our data: table I (what each module adds) and tables II and III (against other kinds)."""
