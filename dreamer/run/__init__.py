"""One run: started, trained, evaluated, saved and continued."""
