export { type BreakerView, joinMesh, type Mesh, type MeshOptions } from './mesh.ts'
export { breakerInfo, meshView } from './mesh-view.ts'
export type { Membership } from './registration.ts'
