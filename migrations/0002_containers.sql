-- What a run was started from: of a container, the image with the beginning of its id.
ALTER TABLE runs ADD COLUMN image TEXT;
