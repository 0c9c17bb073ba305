"""What an annotation and a record are: COCO in, records with targets out, as arrays. Numpy only."""
