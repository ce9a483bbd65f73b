"""The commands of `ebbtide flink`."""

import typer

from ebbtide.commands.flink import cluster, job, savepoints, verify

app = typer.Typer(help="The event path as a job of Apache Flink: scale out.", no_args_is_help=True)
for command in (
    job.run,
    job.submit,
    savepoints.savepoint,
    savepoints.stop,
    cluster.status,
    cluster.up,
    cluster.down,
    cluster.jobmanager,
    cluster.taskmanager,
    verify.verify,
):
    app.command()(command)
