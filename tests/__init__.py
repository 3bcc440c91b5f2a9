# Makes this a package: kronfluence installs a package of the same name, which would come before a mere folder.
