"""What the commands of the project share: how one is made, its tables, pictures and files.

Nothing here knows of arrays. `report.errors` imports nothing, so that everything can raise
`UserError`.
"""
