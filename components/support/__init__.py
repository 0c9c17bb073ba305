"""What the components share: a stage's folder, events and time limit; Dataflow's options; the report's inputs.

Doors: `stage.stage`, `stage.step`, `events.read_events`, `dataflow.beam_arguments`, `report_inputs.collect`.
"""
