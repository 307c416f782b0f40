export type { Endpoint } from './endpoint.ts'
export {
  createEndpointSet,
  type EndpointSet,
  type EndpointView,
  type Outcome,
  type Pick,
} from './endpoint-set.ts'
export { type BreakerView, joinMesh, type Mesh, type MeshOptions } from './mesh.ts'
export type { Membership } from './registration.ts'
