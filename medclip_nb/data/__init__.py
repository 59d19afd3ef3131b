"""The data room: tables of studies, readers, the preprocessing contract, phantoms and the catalogue."""
