"""Labels as other tools export them, painted to class indices.

A format is a module with one row, `FORMAT`, which stands in `table`. Its reader says,
for each image, which objects there are and which pixels each covers (`regions`). What
is one for all formats stands once: how image files are found (`places`), which category
is which class (`scheme`), in which order objects are painted (`painting`).
"""
