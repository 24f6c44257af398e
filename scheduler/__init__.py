"""The timetable: what the clock asks for. Imports `crawler`; never the other way."""
