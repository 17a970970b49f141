-- Beside steelyard, which the image makes; run once, by the first start of the container.
CREATE DATABASE mlflow;
CREATE DATABASE prefect;
