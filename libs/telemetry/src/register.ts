/**
 * For `node --import @docmesh/telemetry/register main.ts`: lets `startTracing` patch @grpc/grpc-js in ES modules.
 * Without it there would be no RPC spans and no error. Loads nothing when tracing is off.
 */
import { HOOKED } from './tracing-hook.ts'
import { tracingEnabled } from './tracing-plan.ts'

if (tracingEnabled(process.env)) {
  const { register, supportsSyncHooks } = await import('import-in-the-middle/register-hooks.mjs')
  if (supportsSyncHooks()) register({ include: ['@grpc/grpc-js'] })
  else (await import('node:module')).register('import-in-the-middle/hook.mjs', import.meta.url)
  Reflect.set(globalThis, HOOKED, true)
}
