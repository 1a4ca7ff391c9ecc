"""Files as every store on disk uses them: the file system port, names, JSON lines, locks."""
