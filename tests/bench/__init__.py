"""The benchmark behind `make bench`: this broker beside mosquitto, on one machine."""
