"""report.html: one file that shows a run, made from the files of its workdir alone."""
