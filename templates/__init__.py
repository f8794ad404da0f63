"""The Dataflow Flex Template: its image, its parameters, and the program that launches the job."""
