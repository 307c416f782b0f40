import { LifecycleState } from '@docmesh/contracts/ops/v1/diagnostics'
import type { Logger } from '@docmesh/telemetry'
import type { Lifecycle } from './lifecycle.ts'
import type { Scope } from './scope.ts'

/** Releases everything and ends the process. */
export type Stop = (reason: string, exitCode: number) => Promise<void>

/** One shutdown, whoever asks first. */
export function createStop(scope: Scope, lifecycle: Lifecycle, logger: Logger): Stop {
  let stopped: Promise<void> | undefined
  const stop: Stop = (reason, exitCode) => {
    stopped ??= (async () => {
      lifecycle.enter(LifecycleState.STOPPING, reason)
      logger.info({ reason }, 'stopping')
      await scope.release()
      lifecycle.enter(LifecycleState.STOPPED, reason)
      logger.info({ reason }, 'stopped')
      process.exit(exitCode)
    })()
    return stopped
  }
  process.on('SIGTERM', () => void stop('SIGTERM', 0))
  process.on('SIGINT', () => void stop('SIGINT', 0))
  process.on('disconnect', () => void stop('the supervisor is gone', 0))
  process.on('uncaughtException', (err, origin) => {
    logger.fatal({ err, origin }, 'uncaught')
    void stop(origin, 1)
  })
  return stop
}
