import typer

app = typer.Typer()


@app.command()
def run() -> None: ...
@app.command()
def validate() -> None: ...
