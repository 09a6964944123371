# find_package(errand) and pkg-config: see tests/install for the outside program that proves both.
