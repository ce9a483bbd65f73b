"""What a run came to, for its report."""

import resource

from ebbtide.report import report
from ebbtide.running.run import ReplayRun
from learners.judging.evaluation import Evaluation
from serving.scoring.copy import followed


def facts(
    run: ReplayRun, evaluation: Evaluation, *, seconds: float, cpu: float, setup: float
) -> report.RunFacts:
    log, survey, counts = run.log, run.log.survey, run.operator.counts
    dead = dict(log.dead.counts.most_common())
    actions = run.learning.actions()
    ablation, staleness = run.beside.results(evaluation, run.phases.seconds, acted=bool(actions))
    return report.RunFacts(
        log=report.LogInfo(
            name=log.name,
            start_ms=survey.first_ms,
            end_ms=survey.last_ms,
            users=survey.users,
            items=survey.items,
            roles=sorted(log.roles),
            labelled=log.labelled,
            label_rule=log.label_rule,
            leave_out=run.plan.leave_out,
            leave_out_reason=run.plan.leave_out_reason,
            label_delay_ms=run.config.label_delay_ms,
        ),
        events=report.EventCounts(
            read=run.events + sum(dead.values()) + log.left_out,
            used=counts.used,
            dead_letters=sum(dead.values()),
            duplicates=counts.duplicates,
            late=counts.late,
            left_out=log.left_out,
        ),
        dead_letters=dead,
        user_memory=report.UserMemory(
            users=counts.users, expired=counts.expired, bytes_per_user=counts.bytes_per_user
        ),
        seconds=seconds,
        cpu_seconds=cpu,
        setup_seconds=setup,
        peak_rss_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        phases=run.phases.seconds,
        evaluation=evaluation,
        score_from=run.config.score_from,
        rank_share=run.plan.rank_share,
        seed=run.config.seed,
        memory=run.config.operator.memory,
        state_digest=run.digest(),
        config=run.config,
        drift=run.learning.alarms(),
        actions=actions,
        coevolution=run.learning.coevolution(),
        embeddings=run.learning.embeddings(),
        foreseen=run.learning.foreseen(),
        insight=run.insight(),
        ablation=ablation,
        staleness=staleness,
        off_policy=run.beside.policy.judge(run.measure, run.config.score_from) if run.beside.policy else None,
        warnings=log.warnings,
        notes=[
            *log.notes,
            *(f"state_digest is without {one}, whose state cannot be read" for one in run.learning.unsaved()),
            *followed(run.store.info()),
            f"memory: {counts.bytes_per_user:,.0f} bytes a user over {counts.users:,} users"
            + (f", {counts.expired:,} expired" if counts.expired else "")
            + f"; {len(run.trainer.catalogue):,} items in the catalogue",
        ],
    )
