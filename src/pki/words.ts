/**
 * Words for passphrases that are read aloud, copied from paper and typed on a phone: short, common, lower-case English
 * words, spelled one way, no two of them sounding the same. Written for commeshctl; nothing secret about the list.
 */
export const WORDS: readonly string[] = `
able acid acorn acre actor adapt add admit adult after again age agent agree ahead air alarm album alert alive alley
allow almond alone alpha also amber amend ample anchor angle ankle annex answer antler apart apple apron arch arctic area
arena argue arm armor army aroma array arrow art ash aside ask aspen atlas atom attic audio august aunt author autumn awake
award axis axle baby bacon badge bag bagel baker balance balloon bamboo banana band bank banner barber bark barley barn barrel
base basic basil basin basket bath baton battery bay beach bead beaker beam bean bear beard beaver become bed beef beetle
begin behind beige bell belong below belt bench berry best better beyond bicycle bike bird biscuit bishop bison black blade
blanket blaze blend blink block bloom blossom board boat body boil bold bolt bonfire bonus book boost boot border borrow
boss bottle bounce bowl box bracket brain branch brass brave bread break breeze brick bridge brief bright bring brisk broad
bronze broom brother brown brush bubble bucket buckle budget buffalo build bulb bundle bunny burger burst bus bush busy
butter button buzz cabbage cabin cable cactus cafe cake calm camel camera camp canal candle candy cannon canoe canvas canyon
cape captain caramel carbon card cargo carpet carrot carry cart castle casual catch cattle cave cedar ceiling celery cello
cement center cereal chain chair chalk champion chance change channel chapter charm chart chase cheap check cheer cheese
cherry chess chest chicken chief child chimney chin choice chorus cider cinema circle circus citizen city civil claim clap
class clay clean clerk clever cliff climb clinic clock cloth cloud clover clown club coach coal coast cobalt coconut coffee
coin collar color column comb comet comfort comic common compass concert cook cookie copper coral corner cotton couch count
country couple cousin cover cow cozy crab craft crane crater crayon cream credit creek crew cricket crisp crop cross crowd
crown cruise crumb crystal cube cucumber cup curious curry curtain curve cushion custom cycle daily dairy daisy dance danger
daring dash data date dawn debate decade deck deep deer degree delta demand denim dense dentist depth desert design desk
detail device dial diamond diary diesel digit dinner direct dish distant dive divide dock doctor dog dollar dolphin domain
donkey door double dough dove down dozen draft dragon drama draw dream dress drift drill drink drive drum dry duck dune dust
duty eager eagle early earth easel east easy echo edge edit effort egg eight elbow elder electric elegant elephant eleven
elm ember emerald empty energy engine enjoy enough enter equal errand escape essay estate even event evening evolve exact
example exit expert extra fabric face factor fair falcon fall family famous fan farm fashion fast father feast feather
feature fence fern ferry fetch fiber fiction field fig film filter final find finger finish fire firm first fish five flag
flame flash flat flavor flight flint float flock floor flow flower fluid flute fly foam focus fog folder follow food
foot force forest forget fork form fossil four fox frame free fresh friday friend frog front frost fruit fuel full funny
future galaxy gallery game garage garden garlic gate gather gecko gem general gentle ghost giant gift ginger giraffe girl
give glad glass globe glove glow glue goal goat gold golf good goose gorilla grace grain grand grape graph grass gravel gravy
gray great green grid grill grin grip ground group grow guard guess guide guitar gulf gym habit half hall hammer hammock
hand handle happy harbor hard harvest hat hawk hazel head health heart heavy hedge helmet help herb hero hill hobby hockey
hold holiday hollow home honest honey hood hook hope horizon horn horse hotel hour house hover human humor hundred hurry
husky hybrid ice idea igloo image improve inch index indigo inform ink input insect inside invite iron island item ivory ivy
jacket jaguar jam jar jasmine jazz jeans jelly jewel job jockey join joke journal journey joy judge juice july jumbo jump
june jungle junior jury just kangaroo kayak keep kernel kettle key kick kidney kind king kiosk kitchen kite kitten kiwi
knee label ladder lagoon lake lamb lamp land lane lantern laptop large laser later laugh laundry lava lawn layer lead leaf
learn leather lemon lens leopard lesson letter level liberty library lift light lilac lily lime limit linen lion liquid list
little live lizard llama lobby lobster local lock lodge logic long loop lotus loud lounge love loyal lucky lumber lunar lunch
machine magic magnet major mango manual maple marble march margin marine market marsh mask master match math matrix meadow
meal medal median medium melody melon member memory mentor menu merit merry message metal meter method metro middle mile
milk million mimic mineral mint minute mirror mitten mixture mobile model modern moment monday money monkey month moon moose
morning mosaic motel mother motion motor mountain mouse mouth move movie muffin museum mushroom music mustard myth narrow
nation native nature navy near neat nectar needle nephew nest network never nickel night nimble nine noble noise noodle north
notable nothing notice novel number nurse nut nylon oak oasis oat object ocean october offer office often olive omega onion
online only open opera option orange orbit orchard orchid order organ origin osprey ostrich otter outdoor outer oval oven
owl owner oxygen oyster pacific package paddle page paint palace palm panda panel panther paper parade parcel parent park
parrot partner party pasta patch path patio pattern pause peace peach peanut pearl pebble pelican pencil penguin people pepper
perfect permit phone photo piano picnic picture pigeon pillow pilot pine pink pioneer pipe pivot pizza place planet plank
plant plastic plate player plaza plenty plum pocket poem poet point polar polish polite pond pony pool popcorn poppy porch
portal postal potato pottery powder prairie present pretty pride prince print prize problem produce profit program promise
proof proud public pudding puffin pulley pulse pump pumpkin pupil puppet puppy purple puzzle pyramid quality quarter queen
quest quick quiet quilt quiz rabbit raccoon race radar radio radish raft rail rainbow ramp ranch random range rapid raven
reach ready real reason recipe record red reef reflect region relax relay remind remote rent repair reply report rescue rest
result return reward rhythm ribbon rice rich ride ridge right ring ripple river road roast robin robot rocket rodeo roof room
rooster rope rose rotate rough round route royal rubber ruby rug rule run rural saddle safari safe saffron sail salad salmon
salon salt salute same sample sand satin sauce sauna savings scale scarf scenic school science scissors scooter score scout
screen script scroll season seat second secret seed select senior sense series seven shadow shake shape share shark sharp
sheep shelf shell shelter shield shift shine ship shirt shoe shop shore short shoulder shovel show shrimp shrub sibling side
signal silent silk silver simple siren sister six size skate sketch ski skill skirt sky sled sleep slice slide slim slope
slow small smart smile smoke smooth snack snail snow soap soccer social socket sofa soft solar solid solo song sonic soon
soup south space spare spark speak special speed spell spice spider spiral spirit spoon sport spot spray spring spruce square
squid stable stadium staff stage stairs stamp stand star start state station steady steam steel stem step stereo stick still
stone stool store storm story stove street strong studio study style subway sugar suit summer summit sun sunday super supper
sure surf surprise swan sweater sweet swift swim swing switch symbol syrup system table tablet taco tailor talent talk tango
tank tape target task taxi teach team teapot temple ten tennis tent test text theater theme theory thick thing think three
thrive thumb thunder ticket tiger timber tiny title toast today toffee together tomato tone tongue tool topic torch tornado
total toucan touch tower town toy track trade traffic trail train travel tray treat tree trend trial triangle tribe trick
trophy trout truck trumpet trunk trust truth tulip tuna tunnel turkey turnip turtle twelve twenty twin two umbrella uncle
under unicorn uniform unique unit update upper upset urban useful usual vacuum valley value vanilla vapor vase vault vector
velvet vendor venue verb verse vessel vest video view village vine vintage violet violin visit visual vital vivid voice volcano
volume voyage wafer wagon walk wallet walnut walrus waltz warm wasabi watch water wave wax wealth weather wedding week welcome
west whale wheat wheel whisper white wide width wild willow window winner winter wire wisdom wish wizard wolf wonder wood
wool word work world worth wrist yacht yard year yellow yoga young zebra zenith zero zigzag zinc zipper zone
`
  .trim()
  .split(/\s+/);
