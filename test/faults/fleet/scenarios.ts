// What the whole of docmesh promises while its parts fall.
import { blobDiskFull } from './disk-full.ts'
import { workerFrozen } from './frozen.ts'
import { analysesKilled, batchesKilled } from './killed.ts'
import { receiversHang } from './receivers-hang.ts'
import { natsRestarted, postgresRestarted, redisRestarted } from './restarted.ts'
import type { FleetScenario } from './scenario.ts'

/** In the order in which they run. */
export const fleetScenarios: Readonly<Record<string, FleetScenario>> = {
  'analyses-killed': analysesKilled,
  'batches-killed': batchesKilled,
  'worker-frozen': workerFrozen,
  'postgres-restarted': postgresRestarted,
  'nats-restarted': natsRestarted,
  'redis-restarted': redisRestarted,
  'blob-disk-full': blobDiskFull,
  'receivers-hang': receiversHang,
}
