"""The paper's figures as experiments that end in a picture, a table and a verdict."""
