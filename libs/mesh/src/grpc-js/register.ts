/**
 * For `import '@docmesh/mesh/grpc-js/register'`: installs the target `mesh:///<service>` with what the environment says.
 * REGISTRY_TARGET lists the replicas of the registry, `host:port` with commas between them, default 127.0.0.1:7400; ZONE is
 * the zone of this process, for locality; MESH_HEDGE lists methods, `<service>/<method>` with commas between them, of
 * which a late call is sent a second time, default none.
 */
import { installMeshTarget } from '../grpc-js.ts'

const { REGISTRY_TARGET = '127.0.0.1:7400', ZONE = '', MESH_HEDGE = '' } = process.env
const listOf = (text: string): string[] =>
  text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '')
installMeshTarget({ registryTargets: listOf(REGISTRY_TARGET), zone: ZONE, hedge: listOf(MESH_HEDGE) })
