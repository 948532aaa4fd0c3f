"""The same requests about many pictures and videos: a folder, a list, or a data set (`desa2va segment`).

What enters: items. What leaves: a table of masks in Parquet, a folder for each item, one report. Any number of
processes share the items; a killed one goes on where it was. (Engineering; no paper section.)
"""
