"""Runs the migrations on the connection that ``featurehub.store.migrate`` hands over, inside its transaction."""

from alembic import context

from featurehub.store.schema import Base

context.configure(
    connection=context.config.attributes["connection"], target_metadata=Base.metadata, render_as_batch=True
)
context.run_migrations()
