# One image for every service of docker-compose.yml; each service says there what it runs.
FROM python:3.12-slim-bookworm

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
RUN useradd --system --uid 10001 --no-create-home desk
# A volume that is new takes its owner from the folder that it covers.
RUN install --directory --owner desk /checkpoints /fence
WORKDIR /desk

COPY requirements/prod.txt requirements/prod.txt
RUN pip install --no-cache-dir --require-hashes -r requirements/prod.txt

COPY manage.py LICENSE ./
COPY dashboard dashboard
COPY templates templates
COPY static static
# collectstatic signs nothing, but Django has no settings without a key. This one is in no running container.
RUN python -m compileall -q dashboard && SECRET_KEY=for-this-step-alone python manage.py collectstatic --no-input

USER desk
EXPOSE 8000
