"""What the tests of engines share, those on a GPU too."""
